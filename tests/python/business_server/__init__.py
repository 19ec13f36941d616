"""A backend's own user service, as small as one can be: pb.BusinessInt on grpcio."""
