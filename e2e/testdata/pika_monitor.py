"""What a monitoring service written with pika does.

pika_monitor.py bind URL QUEUE KEY       makes a durable queue and binds it to error_event
pika_monitor.py consume URL QUEUE COUNT  prints COUNT messages as lines of JSON, and acknowledges each
                                         after that; before, it breaks off with the first one in hand
"""

import json
import sys

import pika


def open_channel(url):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    return connection, channel


def bind(url, queue, key):
    connection, channel = open_channel(url)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, "error_event", key)
    connection.close()


def messages(channel, queue):
    for method, properties, body in channel.consume(queue, inactivity_timeout=60):
        if method is None:
            sys.exit("no more messages on " + queue)
        yield method, properties, body


def consume(url, queue, count):
    connection, channel = open_channel(url)
    next(messages(channel, queue))
    connection.close()

    connection, channel = open_channel(url)
    left = int(count)
    for method, properties, body in messages(channel, queue):
        print(json.dumps({
            "routing_key": method.routing_key,
            "redelivered": method.redelivered,
            "message_id": properties.message_id,
            "type": properties.type,
            "app_id": properties.app_id,
            "timestamp": properties.timestamp,
            "content_type": properties.content_type,
            "delivery_mode": properties.delivery_mode,
            "headers": properties.headers,
            "body": json.loads(body),
        }))
        channel.basic_ack(method.delivery_tag)
        left -= 1
        if left == 0:
            break
    channel.cancel()
    waiting = channel.queue_declare(queue, passive=True).method.message_count
    if waiting:
        sys.exit("%d messages too many on %s" % (waiting, queue))
    connection.close()


{"bind": bind, "consume": consume}[sys.argv[1]](*sys.argv[2:])
