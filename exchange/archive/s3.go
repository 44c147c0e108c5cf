package archive

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 is an archive in a bucket of a store that speaks S3 and knows If-None-Match.
type S3 struct {
	client         *minio.Client
	bucket, prefix string
}

// S3Options say where a bucket is.
type S3Options struct {
	// Endpoint is host:port; Plain speaks HTTP to it, without TLS.
	Endpoint string
	Plain    bool
	// Region may be empty where the store has none.
	Region, Bucket string
	// Prefix starts the names of all objects.
	Prefix            string
	AccessKey, Secret string
}

// partSize is the size of the parts that a large object is sent in, each of which is kept in memory meanwhile.
const partSize = 16 << 20

// NewS3 makes the archive's client. It asks nothing of the store yet.
func NewS3(o *S3Options) (*S3, error) {
	c, err := minio.New(o.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(o.AccessKey, o.Secret, ""), Secure: !o.Plain, Region: o.Region, MaxRetries: 3,
	})
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	prefix := strings.Trim(o.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &S3{c, o.Bucket, prefix}, nil
}

// Put implements Store.
func (s *S3) Put(ctx context.Context, name string, from io.Reader, size int64) error {
	opt := minio.PutObjectOptions{ContentType: "application/octet-stream", PartSize: partSize}
	opt.SetMatchETagExcept("*")
	_, err := s.client.PutObject(ctx, s.bucket, s.prefix+name, from, size, opt)
	if minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed {
		return fmt.Errorf("%w: %s", ErrExists, name)
	}
	if err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	return nil
}

// Get implements Store.
func (s *S3) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := s.client.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err == nil {
		_, err = o.Stat() // which asks for it
	}
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	return o, nil
}

// List implements Store.
func (s *S3) List(ctx context.Context) (names []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix}) {
		if o.Err != nil {
			return nil, fmt.Errorf("list the archive: %w", o.Err)
		}
		names = append(names, strings.TrimPrefix(o.Key, s.prefix))
	}
	return names, nil
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, name string) error {
	err := s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{})
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchKey {
		return fmt.Errorf("delete from the archive: %w", err)
	}
	return nil
}
