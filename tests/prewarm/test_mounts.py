"""File systems from which no events of others' changes come."""

import pytest

from stepaudio_cas.prewarm.mounts import file_system, silent

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/share rw shared:2 - nfs4 server:/ rw
31 22 0:41 / /mnt/with\040space rw - cifs //server/x rw
32 22 0:42 / /mnt/bucket rw - fuse.s3fs s3fs rw
33 22 0:43 / /mnt/disk rw - fuseblk /dev/sdb rw
34 30 8:2 / /mnt/share/local rw - xfs /dev/sdc rw
35 22 0:44 / /mnt/twice rw - nfs a:/ rw
36 22 0:45 / /mnt/twice rw - tmpfs tmpfs rw
broken
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return str(path)


@pytest.mark.parametrize(
    ("folder", "kind", "quiet"),
    [
        ("/srv/voices", "ext4", False),
        ("/mnt/share/voices", "nfs4", True),
        ("/mnt/shared", "ext4", False),
        ("/mnt/with space/voices", "cifs", True),
        ("/mnt/bucket", "fuse.s3fs", True),
        ("/mnt/disk/voices", "fuseblk", False),
        ("/mnt/share/local/voices", "xfs", False),
        ("/mnt/twice", "tmpfs", False),
    ],
)
def test_the_innermost_mount_counts(folder, kind, quiet, table):
    assert file_system(folder, table) == kind
    assert silent(folder, table) == (kind if quiet else "")


def test_where_nobody_says_events_are_tried(tmp_path):
    assert silent("/srv", str(tmp_path / "none")) == ""
