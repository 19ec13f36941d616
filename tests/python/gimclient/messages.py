"""gim's messages and methods as tables (generation B; wire.py explains the notation)."""

from .wire import Codec

SIGN_IN, SYNC, HEARTBEAT, MESSAGE, SUBSCRIBE_ROOM = 1, 2, 3, 4, 5
TO_USER, TO_GROUP, TO_ROOM = 1, 2, 3
SYSTEM, USER, BUSINESS = 1, 2, 3
TEXT, COMMAND, CUSTOM = 1, 7, 8
NORMAL = 1
ADMIN, MEMBER = 1, 2

UNIMPLEMENTED = 12
UNAUTHORIZED, BAD_REQUEST, BAD_CODE, NOT_IN_GROUP = 10000, 10001, 10010, 10011
NO_GROUP, NO_DEVICE, ALREADY_FRIENDS, NO_USER, BANNED = 10013, 10014, 10015, 10016, 10017

ADD_FRIEND, AGREE_ADD_FRIEND = 100, 101
UPDATE_GROUP, ADD_GROUP_MEMBERS, REMOVE_GROUP_MEMBER = 110, 120, 121
PUSH_OF_COMMAND = {
    ADD_FRIEND: "AddFriendPush",
    AGREE_ADD_FRIEND: "AgreeAddFriendPush",
    UPDATE_GROUP: "UpdateGroupPush",
    ADD_GROUP_MEMBERS: "AddGroupMembersPush",
    REMOVE_GROUP_MEMBER: "RemoveGroupMemberPush",
}

CODEC = Codec({
    # sockets
    "Input": "type=1:int request_id=2:int data=3:bytes",
    "Output": "type=1:int request_id=2:int code=3:int message=4:string data=5:bytes",
    "SignInInput": "device_id=1:int user_id=2:int token=3:string",
    "SyncInput": "seq=1:int",
    "SyncOutput": "messages=1:*Message has_more=2:bool",
    "SubscribeRoomInput": "room_id=1:int seq=2:int",
    "MessageACK": "device_ack=2:int receive_time=3:int",
    "MessageSend": "message=1:Message",
    "Message": "sender=1:Sender receiver_type=2:int receiver_id=3:int to_user_ids=4:*int "
    "message_type=5:int message_content=6:bytes seq=7:int send_time=8:int status=9:int",
    "Sender": "sender_type=1:int sender_id=2:int device_id=3:int avatar_url=4:string "
    "nickname=5:string extra=6:string",
    # contents
    "Text": "text=1:string",
    "Command": "code=1:int data=2:bytes",
    "AddFriendPush": "friend_id=1:int nickname=2:string avatar_url=3:string description=4:string",
    "AgreeAddFriendPush": "friend_id=1:int nickname=2:string avatar_url=3:string",
    "UpdateGroupPush": "opt_id=1:int opt_name=2:string name=3:string avatar_url=4:string "
    "introduction=5:string extra=6:string",
    "AddGroupMembersPush": "opt_id=1:int opt_name=2:string members=3:*GroupMember",
    "RemoveGroupMemberPush": "opt_id=1:int opt_name=2:string deleted_user_id=3:int",
    # LogicExt
    "Empty": "",
    "RegisterDeviceReq": "type=2:int brand=3:string model=4:string system_version=5:string "
    "sdk_version=6:string",
    "RegisterDeviceResp": "device_id=1:int",
    "SendMessageReq": "receiver_type=1:int receiver_id=2:int to_user_ids=3:*int "
    "message_type=4:int message_content=5:bytes send_time=6:int is_persist=7:bool",
    "SendMessageResp": "seq=1:int",
    "PushRoomReq": "room_id=1:int message_type=2:int message_content=3:bytes send_time=4:int "
    "is_persist=5:bool is_priority=6:bool",
    "AddFriendReq": "friend_id=1:int remarks=2:string description=3:string",
    "AgreeAddFriendReq": "user_id=1:int remarks=2:string",
    "SetFriendReq": "friend_id=1:int remarks=2:string extra=8:string",
    "SetFriendResp": "friend_id=1:int remarks=2:string extra=8:string",
    "GetFriendsResp": "friends=1:*Friend",
    "Friend": "user_id=1:int phone_number=2:string nickname=3:string sex=4:int "
    "avatar_url=5:string user_extra=6:string remarks=7:string extra=8:string",
    "CreateGroupReq": "name=1:string avatar_url=2:string introduction=3:string extra=4:string "
    "member_ids=5:*int",
    "CreateGroupResp": "group_id=1:int",
    "UpdateGroupReq": "group_id=1:int avatar_url=2:string name=3:string introduction=4:string "
    "extra=5:string",
    "GroupReq": "group_id=1:int",
    "GetGroupResp": "group=1:Group",
    "GetGroupsResp": "groups=1:*Group",
    "Group": "group_id=1:int name=2:string avatar_url=3:string introduction=4:string "
    "user_mum=5:int extra=6:string create_time=7:int update_time=8:int",
    "AddGroupMembersReq": "group_id=1:int user_ids=2:*int",
    "AddGroupMembersResp": "user_ids=1:*int",
    "UpdateGroupMemberReq": "group_id=1:int user_id=2:int member_type=3:int remarks=4:string "
    "extra=5:string",
    "DeleteGroupMemberReq": "group_id=1:int user_id=2:int",
    "GetGroupMembersResp": "members=1:*GroupMember",
    "GroupMember": "user_id=1:int nickname=2:string sex=3:int avatar_url=4:string "
    "user_extra=5:string member_type=6:int remarks=7:string extra=8:string",
    # LogicInt, ConnectInt
    "PushAllReq": "message_type=1:int message_content=2:bytes send_time=3:int",
    "GetDeviceReq": "device_id=1:int",
    "DisconnectReq": "user_id=1:int device_id=2:int reason=3:string",
    "GetDeviceResp": "device=1:Device",
    "Device": "device_id=1:int user_id=2:int type=3:int brand=4:string model=5:string "
    "system_version=6:string sdk_version=7:string status=8:int conn_addr=9:string "
    "client_addr=10:string create_time=11:int update_time=12:int",
    "DeliverMessageReq": "device_id=1:int message_send=2:MessageSend",
    # BusinessExt, BusinessInt
    "SignInReq": "phone_number=1:string code=2:string device_id=3:int",
    "SignInResp": "is_new=1:bool user_id=2:int token=3:string",
    "GetUserReq": "user_id=1:int",
    "GetUserResp": "user=1:User",
    "UpdateUserReq": "nickname=1:string sex=2:int avatar_url=3:string extra=4:string",
    "SearchUserReq": "key=1:string",
    "SearchUserResp": "users=1:*User",
    "User": "user_id=1:int nickname=2:string sex=3:int avatar_url=4:string extra=5:string "
    "create_time=6:int update_time=7:int",
    "AuthReq": "user_id=1:int device_id=2:int token=3:string",
    "GetUsersReq": "user_ids=1:*IdEntry",
    "IdEntry": "key=1:int value=2:int",
    "GetUsersResp": "users=1:*UserEntry",
    "UserEntry": "key=1:int value=2:User",
    # grpc.health.v1
    "HealthCheckRequest": "service=1:string",
    "HealthCheckResponse": "status=1:int",
})

_RPCS = """
pb.LogicExt     RegisterDevice     RegisterDeviceReq     RegisterDeviceResp
pb.LogicExt     SendMessage        SendMessageReq        SendMessageResp
pb.LogicExt     PushRoom           PushRoomReq           Empty
pb.LogicExt     AddFriend          AddFriendReq          Empty
pb.LogicExt     AgreeAddFriend     AgreeAddFriendReq     Empty
pb.LogicExt     SetFriend          SetFriendReq          SetFriendResp
pb.LogicExt     GetFriends         Empty                 GetFriendsResp
pb.LogicExt     CreateGroup        CreateGroupReq        CreateGroupResp
pb.LogicExt     UpdateGroup        UpdateGroupReq        Empty
pb.LogicExt     GetGroup           GroupReq              GetGroupResp
pb.LogicExt     GetGroups          Empty                 GetGroupsResp
pb.LogicExt     AddGroupMembers    AddGroupMembersReq    AddGroupMembersResp
pb.LogicExt     UpdateGroupMember  UpdateGroupMemberReq  Empty
pb.LogicExt     DeleteGroupMember  DeleteGroupMemberReq  Empty
pb.LogicExt     GetGroupMembers    GroupReq              GetGroupMembersResp
pb.LogicInt     SendMessage        SendMessageReq        SendMessageResp
pb.LogicInt     PushRoom           PushRoomReq           Empty
pb.LogicInt     PushAll            PushAllReq            Empty
pb.LogicInt     GetDevice          GetDeviceReq          GetDeviceResp
pb.LogicInt     Disconnect         DisconnectReq         Empty
pb.ConnectInt   DeliverMessage     DeliverMessageReq     Empty
pb.BusinessExt  SignIn             SignInReq             SignInResp
pb.BusinessExt  GetUser            GetUserReq            GetUserResp
pb.BusinessExt  UpdateUser         UpdateUserReq         Empty
pb.BusinessExt  SearchUser         SearchUserReq         SearchUserResp
pb.UserExt      SignIn             SignInReq             SignInResp
pb.UserExt      GetUser            GetUserReq            GetUserResp
pb.BusinessInt  Auth               AuthReq               Empty
pb.BusinessInt  GetUser            GetUserReq            GetUserResp
pb.BusinessInt  GetUsers           GetUsersReq           GetUsersResp
pb.UserInt      Auth               AuthReq               Empty
grpc.health.v1.Health Check        HealthCheckRequest    HealthCheckResponse
"""

# "LogicExt.SendMessage" -> (path, request, response)
METHODS = {}
for _line in _RPCS.split("\n"):
    if _line:
        _service, _method, _request, _response = _line.split()
        METHODS["%s.%s" % (_service.split(".")[-1], _method)] = (
            "/%s/%s" % (_service, _method), _request, _response)


def text(words):
    """Returns the content of a text message."""
    return CODEC.encode("Text", text=words)


def words_of(message):
    """Returns the text of a text message."""
    return CODEC.decode("Text", message.message_content).text


def command_of(message):
    """Returns the code and the decoded payload of a system push."""
    command = CODEC.decode("Command", message.message_content)
    return command.code, CODEC.decode(PUSH_OF_COMMAND[command.code], command.data)
