// franz-go, run by programs.ts: `franz BOOTSTRAP PREFIX CASE,…`.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.test/clients/cases"
)

var acks = map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func main() {
	for _, ack := range cases.Acks {
		for _, codec := range cases.Codecs {
			cases.Test("acks="+ack+" "+codec, func() error {
				options := []kgo.Opt{kgo.RequiredAcks(acks[ack]), kgo.DisableIdempotentWrite()}
				return produce(cases.Produced(ack, codec), "acks="+ack, append(options, kgo.ProducerBatchCompression(codecs[codec]))...)
			})
		}
	}
	cases.Test("idempotent", func() error { return produce("idempotent", "value") })
	cases.Test("commit", commit)
	cases.Test("abort", abort)
	cases.Test("fencing", fencing)
	cases.Test("classic group", func() error { return group("classic") })
	cases.Test("consumer group", func() error {
		return group("consumer", kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	})
	cases.Test("share group", share)
	cases.Test("topics", topics)
	cases.Test("groups", groups)
}

func deadline() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), cases.Deadline)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func client(options ...kgo.Opt) *kgo.Client {
	base := []kgo.Opt{kgo.SeedBrokers(cases.Bootstrap...), kgo.ProducerLinger(20 * time.Millisecond)}
	made, err := kgo.NewClient(append(base, options...)...)
	if err != nil {
		panic(err)
	}
	return made
}

func send(producer *kgo.Client, topic string, values []string) error {
	records := make([]*kgo.Record, len(values))
	for i, value := range values {
		records[i] = &kgo.Record{Topic: cases.Topic(topic), Value: []byte(value)}
	}
	return producer.ProduceSync(deadline(), records...).FirstErr()
}

func produce(topic, name string, options ...kgo.Opt) error {
	producer := client(options...)
	defer producer.Close()
	return send(producer, topic, cases.Values(name, 3))
}

func transaction(producer *kgo.Client, topic string, values []string, end kgo.TransactionEndTry) error {
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	if err := send(producer, topic, values); err != nil {
		return err
	}
	return producer.EndTransaction(deadline(), end)
}

func commit() error {
	producer := client(kgo.TransactionalID(cases.Topic("commit")))
	defer producer.Close()
	if err := transaction(producer, "commit", cases.Values("kept", 3), kgo.TryCommit); err != nil {
		return err
	}
	return committed("commit", 3)
}

func abort() error {
	producer := client(kgo.TransactionalID(cases.Topic("abort")))
	defer producer.Close()
	if err := transaction(producer, "abort", cases.Values("lost", 3), kgo.TryAbort); err != nil {
		return err
	}
	if err := transaction(producer, "abort", cases.Values("kept", 1), kgo.TryCommit); err != nil {
		return err
	}
	return committed("abort", 1)
}

func fencing() error {
	zombie := client(kgo.TransactionalID(cases.Topic("fencing")))
	defer zombie.Close()
	if err := zombie.BeginTransaction(); err != nil {
		return err
	}
	if err := send(zombie, "fencing", cases.Values("lost", 1)); err != nil {
		return err
	}
	successor := client(kgo.TransactionalID(cases.Topic("fencing")))
	defer successor.Close()
	if err := transaction(successor, "fencing", cases.Values("kept", 1), kgo.TryCommit); err != nil {
		return err
	}
	err := zombie.EndTransaction(deadline(), kgo.TryCommit)
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		return fmt.Errorf("the zombie's commit ended with: %w", err)
	}
	return committed("fencing", 1)
}

// committed compares what a consumer of committed records sees with what was kept.
func committed(topic string, count int) error {
	from := map[string]map[int32]kgo.Offset{cases.Topic(topic): {0: kgo.NewOffset().AtStart()}}
	consumer := client(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(from))
	defer consumer.Close()
	values, err := read(consumer, count)
	return errors.Join(err, cases.Same(cases.Values("kept", count), values))
}

func read(consumer *kgo.Client, count int) ([]string, error) {
	var values []string
	for ctx := deadline(); len(values) < count; {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return values, err
		}
		fetches.EachRecord(func(record *kgo.Record) { values = append(values, string(record.Value)) })
	}
	return values, nil
}

// group reads all, commits, leaves; a second member of the group begins where the first ended.
func group(name string, options ...kgo.Opt) error {
	for _, turn := range []string{"first", "second"} {
		producer := client()
		err := send(producer, name, cases.Values(turn, 10))
		producer.Close()
		if err != nil {
			return err
		}
		base := []kgo.Opt{kgo.ConsumerGroup(cases.Topic(name)), kgo.ConsumeTopics(cases.Topic(name)), kgo.DisableAutoCommit()}
		consumer := client(append(base, options...)...)
		values, err := read(consumer, 10)
		slices.Sort(values)
		committing := consumer.CommitUncommittedOffsets(deadline())
		consumer.Close()
		if err := errors.Join(err, committing, cases.Same(cases.Values(turn, 10), values)); err != nil {
			return err
		}
	}
	return nil
}

// share sends until as many records are read and acknowledged: a share group begins with what comes after it.
func share() error {
	producer := client()
	defer producer.Close()
	consumer := client(kgo.ShareGroup(cases.Topic("share")), kgo.ConsumeTopics(cases.Topic("share")))
	defer consumer.Close()
	accepted := map[string]bool{}
	for i := 0; len(accepted) < 5 && i < 200; i++ {
		if err := send(producer, "share", []string{fmt.Sprint("value ", i)}); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		consumer.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			record.Ack(kgo.AckAccept)
			accepted[string(record.Value)] = true
		})
		cancel()
		if err := consumer.FlushAcks(deadline()); err != nil {
			return err
		}
	}
	if len(accepted) < 5 {
		return fmt.Errorf("only %d records were shared", len(accepted))
	}
	return nil
}
