"""What a request says, and what is made of that: facts in, choices and heads out.

`request_line` and `request_head` hold it to the standard, `trust` says who sent it, `router` which version serves it,
`heads` and `trailers` write what goes on, and `upgrade` says who asks for another protocol.
"""
