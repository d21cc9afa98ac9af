"""Against real agents: SPILLWAY_SOCKET, and SPILLWAY_SLOW_SOCKET with a rate and a full disk.

tests/tests/languages.rs starts them: `cargo test -p spillway-tests --test languages`.
"""

import contextlib
import os
import socket
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from spillway import Client, Receipt, Record, Refused, TryLater, Unanswered

SOCKET = os.environ["SPILLWAY_SOCKET"]
SLOW_SOCKET = os.environ["SPILLWAY_SLOW_SOCKET"]
CONNECTIONS_MAX = 256


class Case(unittest.TestCase):
    def client_of(self, path, **options):
        client = Client(path, **options)
        self.addCleanup(client.close)
        return client


class WithAgent(Case):
    def setUp(self):
        self.client = self.client_of(SOCKET)

    def refused(self, record):
        with self.assertRaises(Refused) as caught:
            self.client.send(record)
        self.assertIsNone(caught.exception.retry_after_s)
        return caught.exception

    def test_every_field_arrives(self):
        record = Record(
            b"\x00\xff36.6",
            id="python-fields",
            key="bed-7",
            lane="ordered",
            topic="own-topic",
            tag="Temp",
            order_key="Bett 7 süd",
            properties={"unit": "°C", "Path": "a\\b = c"},
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        receipt = self.client.send(record)
        self.assertEqual((receipt.id, receipt.key), ("python-fields", "bed-7"))
        self.assertEqual((receipt.lane, receipt.level), ("ordered", "disk"))
        self.assertFalse(receipt.duplicate)
        text = 'one "line"\n\tand \\ another, 36.6 °C 🌡\r\n'
        self.client.send(Record(text, id="python-text"))

    def test_the_same_record_again_is_the_same_one(self):
        record = Record("once")
        first, again = self.client.send(record), self.client.send(record)
        self.assertEqual((again.seq, again.duplicate), (first.seq, True))
        refusal = self.refused(Record("another body", id=record.id))
        self.assertEqual((refusal.code, refusal.field), ("id_reused", "id"))

    def test_a_record_can_be_followed_to_the_broker(self):
        receipt = self.client.send(Record("to the broker", id="a/b%?é", level="broker"))
        self.assertEqual(receipt.level, "broker")
        state = self.client.state("a/b%?é")
        self.assertEqual((state.state, state.lane, state.seq), ("delivered", "readings", receipt.seq))
        for stream in (None, state.stream):
            found = self.client.state_of("readings", receipt.seq, stream)
            self.assertEqual(found, state)
        self.assertEqual(self.client.state("never-sent").state, "unknown")

    def test_what_is_wrong_is_refused_for_good_and_named(self):
        lane = self.refused(Record("x", lane="nowhere"))
        self.assertEqual((lane.code, lane.field), ("unknown_lane", "lane"))
        self.assertIn("readings, ordered", lane.message)
        self.assertEqual(self.refused(Record("x", id="a b")).field, "id")
        self.assertEqual(self.refused(Record("x", key="")).field, "key")
        self.assertEqual(self.refused(Record(b"x" * 5_000_000)).code, "too_large")

    def test_each_of_many_has_its_own_result(self):
        records = [
            Record("1", lane="ordered", order_key="a"),
            Record("2", lane="nowhere", order_key="a"),
            Record("3", lane="ordered", order_key="a"),
            Record(b"4", lane="ordered", order_key="b"),
        ]
        found = self.client.send_many(records)
        self.assertEqual([type(f) for f in found], [Receipt, Refused, TryLater, Receipt])
        self.assertEqual((found[1].code, found[2].code), ("unknown_lane", "not_attempted"))
        again = self.client.send_all_until_stored(records)
        self.assertEqual([type(f) for f in again], [Receipt, Refused, TryLater, Receipt])
        self.assertTrue(again[0].duplicate and again[3].duplicate)
        self.assertEqual(again[2].code, "not_attempted")
        self.assertEqual(self.client.send_many([]), [])

    def test_only_what_is_behind_a_refused_one_is_left(self):
        records = [
            # So long that its order key is not read: the agent holds up all that keeps an order.
            Record("x" * 8_000_000, lane="readings", order_key="a"),
            Record("1", lane="ordered", order_key="b"),
            Record("2", lane="ordered", order_key="a"),
            Record("3", lane="whole", order_key="a"),
            Record("4", lane="whole", order_key="b"),
        ]
        codes = [getattr(found, "code", None) for found in self.client.send_many(records)]
        self.assertEqual(codes, ["too_large"] + 4 * ["not_attempted"])
        codes = [getattr(found, "code", None) for found in self.client.send_all_until_stored(records)]
        self.assertEqual(codes, ["too_large", None] + 3 * ["not_attempted"])

    def test_a_lane_may_be_one_order_whatever_keys_it_has(self):
        records = [
            Record("1", lane="whole", order_key="c", topic="a b"),
            Record("2", lane="whole", order_key="d"),
            Record("3", lane="whole", order_key="e"),
        ]
        found = self.client.send_all_until_stored(records)
        self.assertEqual([type(f) for f in found], [Refused, TryLater, TryLater])
        self.assertEqual({f.code for f in found[1:]}, {"not_attempted"})

    def test_the_status_names_the_lanes(self):
        status = self.client.status()
        self.assertEqual([lane["name"] for lane in status["lanes"]], ["readings", "ordered", "whole"])

    def test_threads_and_forks_share_a_client(self):
        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(lambda n: self.client.send(Record(str(n))), range(160)))
        self.assertEqual(len({receipt.seq for receipt in receipts}), 160)
        child = os.fork()
        if child == 0:
            try:
                self.client.send(Record("of a child"))
                os._exit(0)
            finally:
                os._exit(1)
        for n in range(40):
            self.client.send(Record(f"of the parent, {n}"))
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_too_many_connections_are_told_to_come_later_whatever_they_bring(self):
        self.client.close()
        with contextlib.ExitStack() as open_now:
            for _ in range(CONNECTIONS_MAX):
                other = open_now.enter_context(socket.socket(socket.AF_UNIX))
                other.connect(SOCKET)
            for body in ("x", "x" * 1_000_000):
                with self.assertRaises(TryLater) as caught:
                    self.client_of(SOCKET).send(Record(body))
                self.assertEqual(caught.exception.code, "overloaded")
                self.assertEqual(caught.exception.retry_after_s, 1)
        self.client.send_until_stored(Record("they are gone"))


class WithASlowAgent(Case):
    def setUp(self):
        self.waits = []
        on_wait = lambda error, seconds: self.waits.append((error, seconds))
        self.client = self.client_of(SLOW_SOCKET, on_wait=on_wait)

    def test_what_is_over_the_rate_is_stored_later(self):
        records = [Record(f"fast {n}") for n in range(30)]
        found = self.client.send_many(records)
        over = [f for f in found if isinstance(f, TryLater)]
        self.assertTrue(over and all((f.code, f.retry_after_s) == ("over_rate", 1) for f in over))
        found = self.client.send_all_until_stored(records)
        self.assertEqual({type(f) for f in found}, {Receipt})
        self.assertEqual(len({f.seq for f in found}), 30)
        self.assertTrue(self.waits)
        self.assertTrue(all(error.code == "over_rate" and s >= 1 for error, s in self.waits))

    def test_one_order_waits_for_the_rate_while_another_is_refused_for_good(self):
        records = [Record("1", id="a b", order_key="bed-1"), Record("2", order_key="bed-1")]
        records += [Record(f"fast {n}", order_key="bed-2") for n in range(30)]
        found = self.client.send_all_until_stored(records)
        self.assertEqual([type(f) for f in found], [Refused, TryLater] + 30 * [Receipt])
        self.assertEqual(found[1].code, "not_attempted")
        numbers = [f.seq for f in found[2:]]
        self.assertEqual(numbers, sorted(numbers))
        self.assertIn("over_rate", [error.code for error, _ in self.waits])

    def test_a_full_lane_asks_to_come_later_and_the_app_may_give_up(self):
        with self.assertRaises(TryLater) as caught:
            for _ in range(1000):
                record = Record(b"x" * 300_000, lane="small")
                self.client.send_until_stored(record, give_up_after_s=20)
        self.assertEqual((caught.exception.code, caught.exception.retry_after_s), ("disk_full", 30))
        self.assertIn("its quota", caught.exception.message)


class WithoutAnAgent(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "socket")

    @contextlib.contextmanager
    def answering(self, answers):
        """Another server: gives each connection the next answer; None: keeps silent."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen()
        kept = []

        def serve():
            for answer in answers:
                connection, _ = listener.accept()
                kept.append(connection)
                connection.recv(65536)
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()

        server = threading.Thread(target=serve)
        server.start()
        yield
        server.join()
        for connection in [listener, *kept]:
            connection.close()

    def test_nobody_is_there(self):
        waits = []
        client = self.client_of(self.path, on_wait=lambda *wait: waits.append(wait))
        with self.assertRaises(Unanswered) as caught:
            client.send_until_stored(Record("x"), give_up_after_s=0.5)
        self.assertIn(self.path, str(caught.exception))
        self.assertTrue(waits)

    def test_silence_ends(self):
        with self.answering([None]), self.assertRaises(Unanswered):
            self.client_of(self.path, timeout_s=0.2).send(Record("x"))

    def test_an_answer_that_breaks_off_is_none(self):
        record = Record("x")
        line = f'{{"id":"{record.id}","key":"k","lane":"l","seq":1,"level":"disk"}}\n'
        head = "HTTP/1.1 200 OK\r\n"
        answers = [
            f"{head}transfer-encoding: chunked\r\n\r\n{len(line):x}\r\n{line}\r\n",
            f"{head}content-length: {len(line)}\r\n\r\n{line}",
            f"{head}content-length: 3\r\n\r\n{{}}\n",
            "SSH-2.0\r\n",
            "",
        ]
        with self.answering([answer.encode() for answer in answers]):
            for _ in answers:
                with self.assertRaises(Unanswered):
                    self.client_of(self.path).send_many([record, Record("y")])

    def test_an_answer_to_another_record_is_none(self):
        line = '{"id":"other","key":"k","lane":"l","seq":1,"level":"disk"}\n'
        answer = f"HTTP/1.1 201 Created\r\ncontent-length: {len(line)}\r\n\r\n{line}"
        with self.answering([answer.encode()]), self.assertRaises(Unanswered):
            self.client_of(self.path).send(Record("x"))


if __name__ == "__main__":
    unittest.main()
