"""What an answer said: `predictions` are read from the bytes that went by, once the client has them.

`open_inference` is one form that they come in, `disguise` what is written in place of a label that is secret, and
`redaction` what is let out of a body.
"""
