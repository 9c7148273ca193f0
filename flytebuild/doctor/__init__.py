"""Looking at everything that a build needs outside: checks as values, each with how to mend what is wrong."""
