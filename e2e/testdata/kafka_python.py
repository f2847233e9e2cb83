"""What a service written with kafka-python does, unchanged.

kafka_python.py produce BROKERS TOPIC           sends each line of standard input, without a key
kafka_python.py consume BROKERS COUNT TOPIC...  prints COUNT records of the topics as lines of JSON
"""

import base64
import json
import sys

from kafka import KafkaConsumer, KafkaProducer


def produce(brokers, topic):
    producer = KafkaProducer(bootstrap_servers=brokers)
    sent = [producer.send(topic, line.rstrip(b"\n")) for line in sys.stdin.buffer]
    producer.flush()
    for one in sent:
        one.get(timeout=10)
    print(len(sent))


def consume(brokers, count, *topics):
    consumer = KafkaConsumer(
        *topics,
        bootstrap_servers=brokers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        consumer_timeout_ms=15000,
    )
    left = int(count)
    for record in consumer:
        print(json.dumps({
            "topic": record.topic,
            "keyed": record.key is not None,
            "value": base64.b64encode(record.value).decode(),
            "headers": {key: value.decode() for key, value in record.headers},
        }))
        left -= 1
        if left == 0:
            return
    sys.exit("%d records are missing" % left)


{"produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:])
