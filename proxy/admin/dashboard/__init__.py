"""The dashboard: a page that shows what the admin API answers, and gives its commands.

    serving   the files of `static` and plotly's script, with what a browser is allowed to do with them
    static    HTML, style and modules as they are written: nothing is built, and nothing comes from elsewhere

The files are without data, and are served to everybody; whatever they show they ask the API for, with the token of
whoever looks. They compute nothing that the API could answer.
"""
