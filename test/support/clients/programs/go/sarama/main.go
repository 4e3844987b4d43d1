// sarama, run by programs.ts: `sarama BOOTSTRAP PREFIX CASE,…`.
package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"millrace.test/clients/cases"
)

var acks = map[string]sarama.RequiredAcks{
	"0":   sarama.NoResponse,
	"1":   sarama.WaitForLocal,
	"all": sarama.WaitForAll,
}

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func main() {
	for _, ack := range cases.Acks {
		for _, codec := range cases.Codecs {
			cases.Test("acks="+ack+" "+codec, func() error {
				config := config()
				config.Producer.RequiredAcks = acks[ack]
				config.Producer.Compression = codecs[codec]
				return produce(config, cases.Produced(ack, codec), cases.Values("acks="+ack, 3))
			})
		}
	}
	cases.Test("idempotent", func() error { return produce(idempotent(), "idempotent", cases.Values("value", 3)) })
	cases.Test("commit", commit)
	cases.Test("abort", abort)
	cases.Test("fencing", fencing)
	cases.Test("classic group", group)
	cases.Test("topics", topics)
	cases.Test("groups", groups)
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	return config
}

func idempotent() *sarama.Config {
	config := config()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	return config
}

func send(producer sarama.SyncProducer, topic string, values []string) error {
	messages := make([]*sarama.ProducerMessage, len(values))
	for i, value := range values {
		messages[i] = &sarama.ProducerMessage{Topic: cases.Topic(topic), Value: sarama.StringEncoder(value)}
	}
	return producer.SendMessages(messages)
}

func produce(config *sarama.Config, topic string, values []string) error {
	producer, err := sarama.NewSyncProducer(cases.Bootstrap, config)
	if err != nil {
		return err
	}
	return errors.Join(send(producer, topic, values), producer.Close())
}

func transactional(topic string) (sarama.SyncProducer, error) {
	config := idempotent()
	config.Producer.Transaction.ID = cases.Topic(topic)
	return sarama.NewSyncProducer(cases.Bootstrap, config)
}

func begin(producer sarama.SyncProducer, topic string, values []string) error {
	if err := producer.BeginTxn(); err != nil {
		return err
	}
	return send(producer, topic, values)
}

func commit() error {
	producer, err := transactional("commit")
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := begin(producer, "commit", cases.Values("kept", 3)); err != nil {
		return err
	}
	if err := producer.CommitTxn(); err != nil {
		return err
	}
	return committed("commit", 3)
}

func abort() error {
	producer, err := transactional("abort")
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := begin(producer, "abort", cases.Values("lost", 3)); err != nil {
		return err
	}
	if err := producer.AbortTxn(); err != nil {
		return err
	}
	if err := begin(producer, "abort", cases.Values("kept", 1)); err != nil {
		return err
	}
	if err := producer.CommitTxn(); err != nil {
		return err
	}
	return committed("abort", 1)
}

func fencing() error {
	zombie, err := transactional("fencing")
	if err != nil {
		return err
	}
	defer zombie.Close()
	if err := begin(zombie, "fencing", cases.Values("lost", 1)); err != nil {
		return err
	}
	successor, err := transactional("fencing")
	if err != nil {
		return err
	}
	defer successor.Close()
	if err := begin(successor, "fencing", cases.Values("kept", 1)); err != nil {
		return err
	}
	if err := successor.CommitTxn(); err != nil {
		return err
	}
	err = zombie.CommitTxn()
	if !errors.Is(err, sarama.ErrProducerFenced) && !errors.Is(err, sarama.ErrInvalidProducerEpoch) {
		return fmt.Errorf("the zombie's commit ended with: %w", err)
	}
	return committed("fencing", 1)
}
