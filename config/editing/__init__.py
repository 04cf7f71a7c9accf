"""A YAML text with some of its values taken out or replaced, and every other character as it was.

`edits` is the way in: it finds the values, minds aliases, and cuts. `nodes` has the places of values, `cutting` how a
value leaves the collection that it is in, with the comments that belong to it; `flow` writes a value out in one line.

The text is cut by the marks of the parser that the loader reads with, so that what is cut is what is loaded. Nothing is
written anew, so that quotes, indentation, line ends, anchors and comments of the rest cannot change. A library that
loads a text with its comments and dumps it was used before: it hangs each comment on the value before it, so that
comments left with values that they were not about, and it refuses texts that the loader takes.
"""
