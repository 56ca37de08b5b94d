"""What is kept: rows, codecs and the records of services; one package for each database."""
