"""The one file that people edit: what it may say, how it is read, and what a change of it means.

    text ──► `document` ──► `schema` ──► `checks` ──► Config         (`loader` is the way in: a Config, or all problems)
             YAML, with     what each    what two
             every place    part knows   parts must
             remembered     of itself    agree upon

Rooms: `problems` (what is wrong, where, and the remedy), `document` and `syntax` (YAML text to values and places, or
what is wrong with it as YAML), `section` (what all parts share), `durations`, `numbers`, `margins`, `addresses` and
`names` (values with a notation of their own), `reaching` with `certificates`, `pooling`, `balancing` and `health` (how
a backend is reached), `matching`, `predictions`, `feedback`, `capture`, `strategy` with `steps`, `ramp`, `takeover`,
`recreate`, `rolling` and `contest`, `metrics`, `hold`, `webhooks`, `storing` and `schema` (the one definition of every
setting), `checks` with `dividing` (how several versions share the traffic) and `placing` (what parts must agree upon),
`wording` (refusals of the schema in plain words), `sketch` (what is readable of a file with mistakes), `jsonschema`
(for editors), `keys` (which keys are known where), `loader`, `reload` (watch the file; what changed), `reference`
(docs/configuration.md), `examples`.

The file is intent. The live weight of a rollout is state, kept elsewhere, and no edit of the file resets it by chance.
"""
