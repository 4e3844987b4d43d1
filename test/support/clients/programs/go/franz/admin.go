package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"millrace.test/clients/cases"
)

func topics() error {
	admin := kadm.NewClient(client())
	defer admin.Close()
	topic := cases.Topic("admin")
	if _, err := admin.CreateTopic(deadline(), 2, 1, nil, topic); err != nil {
		return err
	}
	created := cases.Eventually(func() error {
		described, err := admin.ListTopics(deadline(), topic)
		return errors.Join(err, described.Error(), cases.Same(2, len(described[topic].Partitions)))
	})
	if created != nil {
		return created
	}
	value := "1234567"
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}
	altered, err := admin.AlterTopicConfigs(deadline(), change, topic)
	if err := errors.Join(err, altered[0].Err); err != nil {
		return err
	}
	showing := cases.Eventually(func() error {
		configs, err := admin.DescribeTopicConfigs(deadline(), topic)
		if err != nil {
			return err
		}
		isThere := func(config kadm.Config) bool { return config.Key == "retention.ms" && config.MaybeValue() == value }
		return cases.Same(true, slices.ContainsFunc(configs[0].Configs, isThere))
	})
	_, again := admin.CreateTopic(deadline(), 2, 1, nil, topic)
	if !errors.Is(again, kerr.TopicAlreadyExists) {
		return fmt.Errorf("the topic was created twice: %w", again)
	}
	_, deleting := admin.DeleteTopic(deadline(), topic)
	return errors.Join(showing, deleting)
}

// groups looks at the group that `classic group` left behind.
func groups() error {
	admin := kadm.NewClient(client())
	defer admin.Close()
	group := cases.Topic("classic")
	listed, err := admin.ListGroups(deadline())
	if _, found := listed[group]; !found {
		return fmt.Errorf("not listed: %w", err)
	}
	described, err := admin.DescribeGroups(deadline(), group)
	if err := errors.Join(err, cases.Same("Empty", described[group].State)); err != nil {
		return err
	}
	offsets, err := admin.FetchOffsets(deadline(), group)
	sum := int64(0)
	offsets.Each(func(one kadm.OffsetResponse) { sum += one.At })
	_, deleting := admin.DeleteGroup(deadline(), group)
	return errors.Join(err, cases.Same(int64(20), sum), deleting)
}
