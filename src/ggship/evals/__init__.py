"""Suites, assertions, runner, comparison, gates, reports."""
