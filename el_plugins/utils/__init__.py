"""Shared by the tools: files, tables, statistics, commands, locks, downloads."""
