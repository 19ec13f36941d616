"""A minimal user service of a backend: pb.BusinessInt on grpcio."""
