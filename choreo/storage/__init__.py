"""Stored data: rows, codecs and service records; one package for each database."""
