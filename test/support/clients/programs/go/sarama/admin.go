package main

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"millrace.test/clients/cases"
)

func topics() error {
	admin, err := sarama.NewClusterAdmin(cases.Bootstrap, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	topic := cases.Topic("admin")
	detail := sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, &detail, false); err != nil {
		return err
	}
	created := cases.Eventually(func() error {
		described, err := admin.DescribeTopics([]string{topic})
		if err != nil {
			return err
		}
		return cases.Same(2, len(described[0].Partitions))
	})
	if created != nil {
		return created
	}
	value := "1234567"
	change := map[string]sarama.IncrementalAlterConfigsEntry{
		"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value},
	}
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, change, false); err != nil {
		return err
	}
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}}
	showing := cases.Eventually(func() error {
		entries, err := admin.DescribeConfig(resource)
		if err != nil {
			return err
		}
		return cases.Same(value, entries[0].Value)
	})
	if again := admin.CreateTopic(topic, &detail, false); !errors.Is(again, sarama.ErrTopicAlreadyExists) {
		return fmt.Errorf("the topic was created twice: %w", again)
	}
	return errors.Join(showing, admin.DeleteTopic(topic))
}

// groups looks at the group that `classic group` left behind.
func groups() error {
	admin, err := sarama.NewClusterAdmin(cases.Bootstrap, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	group := cases.Topic("classic")
	listed, err := admin.ListConsumerGroups()
	if _, found := listed[group]; !found {
		return fmt.Errorf("not listed: %w", err)
	}
	described, err := admin.DescribeConsumerGroups([]string{group})
	if err := errors.Join(err, cases.Same("Empty", described[0].State)); err != nil {
		return err
	}
	offsets, err := admin.ListConsumerGroupOffsets(group, nil)
	if err != nil {
		return err
	}
	sum := int64(0)
	for _, partition := range offsets.Blocks[group] {
		sum += partition.Offset
	}
	return errors.Join(cases.Same(int64(20), sum), admin.DeleteConsumerGroup(group))
}
