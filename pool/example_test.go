package pool_test

import (
	"fmt"

	"zeroframe/pool"
)

func ExamplePool_Use() {
	p, err := pool.New(pool.Config[*[]byte]{
		Capacity: 16,
		Produce:  func() *[]byte { b := make([]byte, 0, 512); return &b },
		Clear:    func(b *[]byte) *[]byte { *b = (*b)[:0]; return b },
	})
	if err != nil {
		panic(err)
	}
	err = p.Use(func(b *[]byte) error {
		*b = append(*b, "recycled on return and on panic"...)
		fmt.Println(string(*b))
		return nil
	})
	fmt.Println(err, p.Idle())
	// Output:
	// recycled on return and on panic
	// <nil> 1
}

func ExampleGet() {
	b := pool.Get(100)
	b.B = append(b.B, "hello"...)
	fmt.Println(len(b.B), cap(b.B))
	pool.Put(b) // b must not be touched from here on
	// Output: 5 128
}
