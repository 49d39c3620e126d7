"""Test-time adaptation and direct fitting."""
