"""The commands of `idcseg`, one function each, imported when called."""
