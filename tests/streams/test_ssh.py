"""Command lines of `ssh`."""

from flytebuild.streams.ssh import ssh_command


def test_an_ssh_command_line_has_its_options_before_the_host() -> None:
    expected = "ssh -o BatchMode=yes -l me -p 1 -- h docker system dial-stdio"
    assert ssh_command("ssh://me@h:1", "docker", "system", "dial-stdio") == tuple(expected.split())
