not a number
