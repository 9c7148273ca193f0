"""What is wrong with definitions before anything is built or run: the two rules of several environments, and lints.

Nothing of the user's is imported or called here. What is read: the objects of the modules that are loaded, the user's
files, what the layers of images say, the metadata of packages that this machine has. `flytebuild.check.examination` is
where it starts; `docs/checks.md` says what each rule means.
"""
