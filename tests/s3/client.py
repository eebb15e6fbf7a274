"""An independent client for the tests of S3 (boto3). Prints one JSON value.

usage: client.py COMMAND [ARGUMENT...]      the server is AWS_ENDPOINT_URL, the credentials are those of the environment
  bucket NAME [POLICY]      makes a bucket; POLICY says who may use it
  objects NAME              all objects, read whole: key, sha256, size, content type, metadata, time
  uploads NAME              how many uploads in parts are unfinished
  remove NAME KEY           removes an object
  spoil NAME KEY            replaces an object by other bytes, as many as before
  user NAME POLICY          makes a user who may do what POLICY says, and prints its keys
  certificates FOLDER       makes authority.pem, and for 127.0.0.1 server.pem and server.key
"""

import datetime
import hashlib
import ipaddress
import json
import os
import sys

import boto3


def bucket(name, policy=None):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=name)
    if policy:
        s3.put_bucket_policy(Bucket=name, Policy=policy)


def objects(name):
    s3 = boto3.client("s3")
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        for entry in page.get("Contents", []):
            answer = s3.get_object(Bucket=name, Key=entry["Key"])
            body = answer["Body"].read()
            found.append(
                {
                    "key": entry["Key"],
                    "sha256": hashlib.sha256(body).hexdigest(),
                    "size": len(body),
                    "contentType": answer["ContentType"],
                    "metadata": answer["Metadata"],
                }
            )
    return found


def uploads(name):
    return len(boto3.client("s3").list_multipart_uploads(Bucket=name).get("Uploads", []))


def remove(name, key):
    boto3.client("s3").delete_object(Bucket=name, Key=key)


def spoil(name, key):
    s3 = boto3.client("s3")
    there = s3.head_object(Bucket=name, Key=key)
    s3.put_object(Bucket=name, Key=key, Body=bytes(there["ContentLength"]), ContentType=there["ContentType"])


def user(name, policy):
    iam = boto3.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="publish", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def certificates(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)

    def certificate(name, key, issuer, issuer_key, extensions):
        def names(text):
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        builder = x509.CertificateBuilder().subject_name(names(name)).issuer_name(names(issuer))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + day)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def write(name, content):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)

    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    is_authority = x509.BasicConstraints(ca=True, path_length=None)
    write("authority.pem", certificate("authority", authority, "authority", authority, [is_authority]))
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    write("server.pem", certificate("server", server, "authority", authority, [loopback]))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write("server.key", server.private_bytes(pem, pkcs8, serialization.NoEncryption()))


if __name__ == "__main__":
    commands = (bucket, objects, uploads, remove, spoil, user, certificates)
    command = {function.__name__: function for function in commands}[sys.argv[1]]
    print(json.dumps(command(*sys.argv[2:])))
