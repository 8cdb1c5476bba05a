"""Who we are for S3, and where that is, found out as AWS's own tools do."""

import pytest

from stepaudio_cas.errors import Unavailable
from stepaudio_cas.store.aws import Credentials, Identity, Profile, Signer, query, quoted

CONFIG = """
[default]
region = eu-west-1
[profile fleet]
region = eu-north-1
endpoint_url = http://all:1
services = ours
s3 =
  addressing_style = virtual
[services ours]
s3 =
  endpoint_url = http://s3:2/
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
aws_access_key_id = ignored
aws_secret_access_key = ignored
"""
SECRETS = """
[default]
aws_access_key_id = default-key
aws_secret_access_key = default%secret
[fleet]
aws_access_key_id = fleet-key
aws_secret_access_key = fleet-secret
aws_session_token = fleet-token
"""


@pytest.fixture
def profile(aws, tmp_path):
    """Read a profile in an environment."""

    def read(**environment):
        (tmp_path / "config").write_text(CONFIG)
        (tmp_path / "secrets").write_text(SECRETS)
        files = {
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "secrets"),
        }
        return Profile({**files, **environment})

    return read


def test_the_signature_is_the_one_of_the_documentation():
    """`GET Object` in AWS's "Examples of the complete Version 4 signing process"."""
    signed = Signer("us-east-1").sign(
        Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        "GET",
        "/test.txt",
        {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"},
        b"",
        now=1369353600.0,
    )
    assert signed["authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_the_signature_covers_the_query_as_in_the_documentation():
    """`GET Bucket (List Objects)` of the same page."""
    signed = Signer("us-east-1").sign(
        Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        "GET",
        "/?" + query({"prefix": "J", "max-keys": "2"}),
        {"host": "examplebucket.s3.amazonaws.com"},
        b"",
        now=1369353600.0,
    )
    assert signed["authorization"].endswith(
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


def test_a_session_token_is_signed():
    signed = Signer("us-east-1").sign(
        Credentials("a", "b", "token"), "GET", "/", {"host": "h"}, b""
    )
    assert signed["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in signed["authorization"]


def test_a_key_is_derived_anew_for_other_secrets():
    signer = Signer("us-east-1")
    lines = {
        signer.sign(Credentials("a", secret), "GET", "/", {"host": "h"}, b"", now=0)[
            "authorization"
        ]
        for secret in ("one", "two", "one")
    }
    assert len(lines) == 2


def test_paths_and_queries_are_quoted_as_amazon_wants_it():
    assert quoted("/b/two words/é+~_.-") == "/b/two%20words/%C3%A9%2B~_.-"
    assert query({"b": "x/y=", "a": "é "}) == "a=%C3%A9%20&b=x%2Fy%3D"


def test_the_default_profile_is_read(profile):
    found = profile()
    assert found.keys() == Credentials("default-key", "default%secret")
    assert (found.region, found.endpoint, found.s3) == ("eu-west-1", None, {})


def test_the_profile_of_the_environment_is_read(profile):
    found = profile(AWS_PROFILE="fleet")
    assert found.keys() == Credentials("fleet-key", "fleet-secret", "fleet-token")
    assert found.region == "eu-north-1"
    assert found.endpoint == "http://s3:2"
    assert found.s3["addressing_style"] == "virtual"


def test_the_environment_wins_over_profiles(profile):
    found = profile(
        AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s", AWS_SESSION_TOKEN="t",
        AWS_REGION="r", AWS_ENDPOINT_URL_S3="http://s3/", AWS_ENDPOINT_URL="http://all",
    )  # fmt: skip
    assert found.keys() == Credentials("k", "s", "t")
    assert (found.region, found.endpoint) == ("r", "http://s3")


def test_the_endpoint_of_all_services_comes_after_that_of_s3(profile):
    assert profile(AWS_ENDPOINT_URL="http://all").endpoint == "http://all"
    assert profile(AWS_PROFILE="fleet", AWS_ENDPOINT_URL="http://env").endpoint == "http://s3:2"
    ignored = {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert profile(AWS_PROFILE="fleet", **ignored).endpoint is None


@pytest.mark.parametrize(
    "environment",
    [{"AWS_PROFILE": "role"}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}, {"AWS_PROFILE": "none"}],
)
def test_a_role_is_more_than_the_keys_beside_it(profile, environment):
    assert profile(**environment).keys() is None


def test_without_files_there_is_the_default_region(aws):
    assert Profile().region == "us-east-1"
    assert Profile().keys() is None


def test_a_file_that_is_no_configuration_is_left_out(aws, tmp_path):
    (tmp_path / "aws-config_file").write_text("= no\nconfiguration")
    assert Profile().region == "us-east-1"


def test_without_any_credentials_that_is_said(aws, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "botocore.session", None)
    with pytest.raises(Unavailable, match=r"^credentials: no keys .*stepaudio-cas\[s3\]"):
        Identity().get()


def test_roles_are_found_by_botocore(aws, tmp_path, monkeypatch):
    pytest.importorskip("botocore")
    program = tmp_path / "program"
    program.write_text(
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "k", "SecretAccessKey": "s",'
        ' "SessionToken": "t", "Expiration": "2999-01-01T00:00:00Z"}\'\n'
    )
    program.chmod(0o755)
    (tmp_path / "aws-config_file").write_text(f"[default]\ncredential_process = {program}\n")
    assert Identity().get() == Credentials("k", "s", "t")


def test_credentials_are_looked_for_again_when_they_are_refused(aws, monkeypatch):
    identity = Identity()
    aws(credentials=Credentials("one", "s"))
    first = identity.get()
    aws(credentials=Credentials("two", "s"))
    assert identity.get() == first
    identity.forget(Credentials("other", "s"))
    assert identity.get() == first
    identity.forget(first)
    assert identity.get().access == "two"
