// The newest @aws-sdk/client-s3 with its own defaults: checksums in trailers, aws-chunked bodies.
// Arguments: endpoint and, for virtual-host style names (its default), the address that they all lead to, as DNS would
// say. Credentials come from the environment. Prints one line per check; exits 1 on the first failure.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import http from "node:http";
import https from "node:https";
import {
  S3Client, CreateBucketCommand, DeleteBucketCommand, DeleteObjectCommand, GetObjectCommand, HeadObjectCommand,
  ListObjectsV2Command, PutObjectCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

const [endpoint, address] = process.argv.slice(2);
const lookup = (name, options, done) =>
  options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4);
const agents = { httpAgent: new http.Agent({ lookup }), httpsAgent: new https.Agent({ lookup }) };
const client = new S3Client({
  endpoint, region: "auto", ...(address ? { requestHandler: agents } : { forcePathStyle: true }),
});
const Bucket = "sdk-js";
const bytes = async (answer) => Buffer.from(await answer.Body.transformToByteArray());

const checks = {
  async "creates a bucket"() {
    await client.send(new CreateBucketCommand({ Bucket }));
  },
  async "puts and gets with its default checksum"() {
    const Body = randomBytes(100_000);
    await client.send(new PutObjectCommand({ Bucket, Key: "small", Body, Metadata: { colour: "blue" } }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "small", ChecksumMode: "ENABLED" }));
    assert.deepEqual(await bytes(got), Body);
    assert.equal(got.Metadata.colour, "blue");
  },
  async "puts with each checksum"() {
    for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"]) {
      await client.send(new PutObjectCommand({ Bucket, Key: ChecksumAlgorithm, Body: "text", ChecksumAlgorithm }));
      const head = await client.send(
        new HeadObjectCommand({ Bucket, Key: ChecksumAlgorithm, ChecksumMode: "ENABLED" }));
      assert.ok(head[`Checksum${ChecksumAlgorithm}`], ChecksumAlgorithm);
    }
  },
  async "uploads in parts"() {
    const Body = randomBytes(12 << 20);
    await new Upload({ client, params: { Bucket, Key: "parts", Body }, partSize: 5 << 20 }).done();
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "parts" }));
    assert.ok(Body.equals(await bytes(got)));
  },
  async "refuses what is there already"() {
    const put = new PutObjectCommand({ Bucket, Key: "small", Body: "x", IfNoneMatch: "*" });
    await assert.rejects(client.send(put), { name: "PreconditionFailed" });
  },
  async "lists and deletes"() {
    const listed = await client.send(new ListObjectsV2Command({ Bucket }));
    assert.deepEqual(listed.Contents.map((o) => o.Key), ["CRC32", "CRC32C", "SHA1", "SHA256", "parts", "small"]);
    for (const { Key } of listed.Contents) await client.send(new DeleteObjectCommand({ Bucket, Key }));
    await client.send(new DeleteBucketCommand({ Bucket }));
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok: ${name}`);
}
