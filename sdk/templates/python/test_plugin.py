"""Tests of the commands, without a server: `python3 -m unittest`."""

import unittest

from lictor.testing import Failure, Host

import plugin  # noqa: F401


class Greet(unittest.TestCase):
    def test_greets_by_name(self):
        host = Host(caller="ada", config={"greeting": "good day"})
        self.assertEqual(host.run("{{name}}", "Grace"), b"good day Grace, from ada")
        self.assertEqual(host.take_log(), ["greeting Grace"])

    def test_refuses_a_long_name(self):
        with self.assertRaises(Failure) as refused:
            Host().run("{{name}}", "x" * 41)
        self.assertEqual(refused.exception.code, "bad-arguments")
