package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
	"millrace.test/clients/cases"
)

// committed compares what a consumer of committed records sees with what was kept.
func committed(topic string, count int) error {
	config := config()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer(cases.Bootstrap, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(cases.Topic(topic), 0, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	defer partition.Close()
	var values []string
	for late := time.After(cases.Deadline); len(values) < count; {
		select {
		case message := <-partition.Messages():
			values = append(values, string(message.Value))
		case <-late:
			return fmt.Errorf("only %d records came", len(values))
		}
	}
	return cases.Same(cases.Values("kept", count), values)
}

// reader takes records until it has as many as it wants, and commits them.
type reader struct {
	messages chan *sarama.ConsumerMessage
}

func (reader) Setup(sarama.ConsumerGroupSession) error { return nil }

func (reader) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

func (r reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message := <-claim.Messages():
			session.MarkMessage(message, "")
			r.messages <- message
		case <-session.Context().Done():
			return nil
		}
	}
}

// group reads all, commits, leaves; a second member of the group begins where the first ended.
func group() error {
	for _, turn := range []string{"first", "second"} {
		if err := produce(config(), "classic", cases.Values(turn, 10)); err != nil {
			return err
		}
		values, err := readInGroup(10)
		slices.Sort(values)
		if err := errors.Join(err, cases.Same(cases.Values(turn, 10), values)); err != nil {
			return err
		}
	}
	return nil
}

func readInGroup(count int) ([]string, error) {
	topic := cases.Topic("classic")
	group, err := sarama.NewConsumerGroup(cases.Bootstrap, topic, config())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reader := reader{make(chan *sarama.ConsumerMessage, 100)}
	ended := make(chan error)
	go func() { ended <- group.Consume(ctx, []string{topic}, reader) }()
	var values []string
	for late := time.After(cases.Deadline); len(values) < count && err == nil; {
		select {
		case message := <-reader.messages:
			values = append(values, string(message.Value))
		case err = <-ended:
			return values, fmt.Errorf("the session ended early: %w", err)
		case <-late:
			err = fmt.Errorf("only %d records came", len(values))
		}
	}
	cancel()
	return values, errors.Join(err, <-ended, group.Close())
}
