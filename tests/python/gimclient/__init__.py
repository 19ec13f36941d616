"""An independent client of gimlet, written only from the description of gim's wire.

wire.py and messages.py speak protobuf, grpc_client.py speaks gRPC, tcp.py and ws.py carry
packets, session.py is one signed-in connection, device.py is one device of one user.
Nothing here knows the server's source or its .proto files.
"""
