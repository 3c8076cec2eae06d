"""The version of this program; a constant, because reading the installed metadata costs 40 ms."""

VERSION = "0.1.0"
