"""Receive a collection of a Tocsin exchange over NATS: a message is a block, a
block is a STIX bundle.

    pip install nats-py zstandard
    python subscriber.py nats://127.0.0.1:6122 cert-at TOKEN cert-at
"""

import asyncio
import sys

import nats
import zstandard


async def main(server, member, token, collection):
    # A member may use no other inbox than its own.
    inbox = f"_INBOX.{member}"
    nc = await nats.connect(
        server, user=member, password=token, inbox_prefix=inbox.encode()
    )
    js = nc.jetstream()
    # The exchange keeps a durable consumer for each collection you may read.
    sub = await js.pull_subscribe_bind(
        durable=f"{member}_{collection}",
        stream="TOCSIN_BLOCKS",
        inbox_prefix=f"{inbox}.".encode(),
    )
    zstd = zstandard.ZstdDecompressor()
    while True:
        try:
            messages = await sub.fetch(batch=16, timeout=30)
        except nats.errors.TimeoutError:
            continue
        for msg in messages:
            if "Tocsin-Control" in (msg.headers or {}):
                await msg.ack()  # it adds nothing: something was removed
                continue
            if number := (msg.headers or {}).get("Tocsin-Replaces"):
                print(
                    f"block {number} has lost objects: what follows is all that stays of it",
                    file=sys.stderr,
                )
            bundle = zstd.decompress(msg.data, max_output_size=256 << 20)
            print(bundle.decode())  # block msg.headers["Tocsin-Block"]
            await msg.ack()  # what is not acknowledged comes again


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: subscriber.py SERVER MEMBER TOKEN COLLECTION")
    asyncio.run(main(*sys.argv[1:]))
