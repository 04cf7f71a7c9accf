"""What people want: configurations as they come, and whether one may go live.

`source` says where they come from and what is wrong with one, in itself and with what runs; `vacated` whom it may not
call stable, `file` how others write it, `moved` who would be somewhere else after an edit.
"""
