"""From definitions to exact specs: what names of images lead to, and which packages are installed.

`specified` is the whole of it. `locked` is what `flytebuild.lock` says, `locking` how that file comes about, `unlocked`
what stands in for it where it is not wanted, and `sharing` which packages become layers that images share.
"""
