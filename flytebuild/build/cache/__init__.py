"""The remote cache of a build: what solves import, and what is kept of them for other machines."""

from flytebuild.build.cache.choice import BuildCache, NoCache, local_folder, open_cache, repository_of
from flytebuild.build.cache.keys import BuiltImage
from flytebuild.build.cache.remote import RemoteCache

__all__ = ["BuildCache", "BuiltImage", "NoCache", "RemoteCache", "local_folder", "open_cache", "repository_of"]
