"""What is wrong with definitions before anything is built or run: the two rules of several environments, and lints.

The core reads values only: live objects of the modules that are loaded, the text of the user's files, what images are
made of. `flytebuild.check.examination` is where it starts; `docs/checks.md` says what each rule means.
"""
