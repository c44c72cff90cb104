"""What both programs share at a terminal: options, one result, errors of one sentence, tables."""
