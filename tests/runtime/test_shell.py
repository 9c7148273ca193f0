"""What a container at this terminal is made of."""

from flytebuild.runtime.shell import Session


def test_values_of_secrets_are_not_shown() -> None:
    session = Session("image:1", ("sh",), {"TOKEN": "hidden"}, b"hidden", (), is_terminal=False)
    assert "hidden" not in repr(session)
