"""Packages of Python as wheels: which ones layers come to, kept in `flytebuild.lock`, and how images share them.

Pure: `arguments`, `projects`, `questions`, `lock`, `moved`, `tags`, `pylock`, `exported`, `partition`, `recipe`. To the
outside: `uv`, `deciding` and `resolver` decide versions like sequential installs, `metadata` reads wheels on indexes,
`base` what a base image has installed, `environment` and `staging` write for uv what it has to see, and `lockfile` is
the file.
"""
