"""The main job on real models: a better version is promoted, a worse one aborted (`understudy demo`).

run       brings it all up, edits the file, waits for the two ends, and says what happened
 ├─ models    three digit classifiers, trained on the spot
 ├─ server    one process per model: the Open Inference Protocol V2 over REST
 ├─ settings  the YAML file before and after the edit
 ├─ processes what was started, and how it is stopped
 ├─ traffic   users who send rows that no model was trained on, at a constant rate
 ├─ watching  the admin API, asked until a rollout ends
 ├─ view      weights and evidence while it runs
 └─ account   what is printed and written at the end
"""
