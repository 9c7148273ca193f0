"""Packages of Python as wheels: which ones layers come to, kept in `flytebuild.lock`, and how images share them.

Pure: `arguments`, `questions`, `lock`, `moved`, `tags`, `pylock`, `partition`, `recipe`. To the outside: `uv` and
`resolver` decide versions like sequential installs, `metadata` reads wheels on indexes, `base` what a base image has
installed, `environment` and `staging` write for uv what it has to see, and `lockfile` is the file.
"""
