"""The laboratory: sagas broken by faults, in virtual time and in every order."""
