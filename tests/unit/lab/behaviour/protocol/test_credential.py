"""How a login is carried."""

from __future__ import annotations

from thingwarden.lab.behaviour.protocol.credential import basic_authorization


def test_header_is_that_of_the_standards_example() -> None:
    header = basic_authorization("Aladdin", "open sesame")
    assert header == b"Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_a_password_may_be_empty_or_not_ascii() -> None:
    assert basic_authorization("root", "") == b"Authorization: Basic cm9vdDo="
    assert basic_authorization("test", "123\u00a3") == b"Authorization: Basic dGVzdDoxMjPCow=="
