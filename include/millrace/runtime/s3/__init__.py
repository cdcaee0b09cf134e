"""The embedded S3: objects in files under generated ids, an SQLite index, and the protocol on top.

`store.ObjectStore` is what the rest of the runtime uses; `app.s3_app` is what boto3 talks to. What this room does not
do: versioning, access control, encryption, replication, events. Whatever it does not offer it refuses by name.
"""
