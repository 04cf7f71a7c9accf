"""The one file that people edit: what it may say, how it is read, and what a change of it means.

    text ──► `document` ──► `schema` ──► `checks` ──► Config         (`loader` is the way in: a Config, or all problems)
             YAML, with     what each    what two
             every place    part knows   parts must
             remembered     of itself    agree upon

`schema` is the one definition of every setting. Its parts are in folders: `rollouts` (how a candidate takes over, and
what decides), `routes` (what becomes of requests), `backends`, `listeners` (the proxy itself), `editing` (a text with
values taken out, and all else as it was) and `values` (with a notation of their own, and what all parts share). Each
folder may use those named after it.

Around it: `document` and `syntax` (YAML text to values and places, or what is wrong with it as YAML), `checks` with
`dividing` (how several versions share the traffic) and `placing` (endpoints that replace each other), `wording`
(refusals of the schema in plain words), `sketch` (what is readable of a file with mistakes), `keys` (which keys are
known where), `jsonschema` (for editors), `reference` (docs/configuration.md), `masking` (secrets), `files` (what the
configuration names), `reload` (watch the file; what changed), `promoted` (the file after a promotion), `examples`.

The file is intent. The live weight of a rollout is state, kept elsewhere, and no edit of the file resets it by chance.
"""
