"""What a structure is called: codes, names, sides, colours, licences; one rule each."""
