"""The host's settings about package indexes."""

from __future__ import annotations

from flytebuild import indexes


def test_what_is_set_is_given_and_nothing_else() -> None:
    environ = {"UV_INDEX_URL": "https://i.example/simple", "UV_EXTRA_INDEX_URL": "", "UV_CONSTRAINT": "x", "PATH": "/"}
    assert indexes.of_host(environ) == {"UV_INDEX_URL": "https://i.example/simple"}


def test_folders_of_the_host_s_are_none_of_a_step_s() -> None:
    assert indexes.of_host({"UV_FIND_LINKS": "/srv/wheels,file:///srv/more,./here"}) == {}
    links = {"UV_FIND_LINKS": "/srv/wheels,https://i.example/a,http://i.example/b"}
    assert indexes.of_host(links) == {"UV_FIND_LINKS": "https://i.example/a,http://i.example/b"}


def test_the_urls_of_all_of_them() -> None:
    settings = {
        "UV_INDEX": "corp=https://t@i.example/simple https://i.example/a=b",
        "UV_FIND_LINKS": "https://l.example/a,https://l.example/b",
        "PATH": "/bin",
    }
    assert indexes.urls(settings) == (
        *("https://t@i.example/simple", "https://i.example/a=b"),
        *("https://l.example/a", "https://l.example/b"),
    )
