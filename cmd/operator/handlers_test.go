// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	cachetesting "k8s.io/client-go/tools/cache/testing"
)

func TestAHandlerThatPanicsDoesNotEndTheOperator(t *testing.T) {
	surviveHandlers()
	source := cachetesting.NewFakeControllerSource()
	informer := cache.NewSharedInformer(source, &corev1.ConfigMap{}, 0)
	seen := make(chan string)
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(obj any) {
		name := obj.(*corev1.ConfigMap).Name
		if name == "bad" {
			panic(name)
		}
		seen <- name
	}})
	if err != nil {
		t.Fatal(err)
	}
	go informer.RunWithContext(t.Context())
	for _, name := range []string{"bad", "good"} {
		source.Add(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	select {
	case <-seen:
	case <-time.After(time.Minute):
		t.Error("the next object was not handled")
	}
}
