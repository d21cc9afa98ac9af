//! The servers that the centre's tests rely on: MariaDB keeps what it committed when it is killed,
//! Redis keeps nothing, and both come back where they were.

use redis::AsyncCommands;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::redis::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_keeps_what_it_committed_when_it_is_killed() {
    let mut database = MariaDb::start();
    database.run(&["create table kept (n int primary key)", "insert into kept values (7)"]).await;
    let mut open = database.connect().await;
    let begin = "start transaction";
    mysql_async::prelude::Queryable::query_drop(&mut open, begin).await.unwrap();
    let unfinished = "insert into kept values (8)";
    mysql_async::prelude::Queryable::query_drop(&mut open, unfinished).await.unwrap();
    let port = database.port();
    database.kill();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    database.restart();
    assert_eq!(database.port(), port);
    assert_eq!(database.rows::<u64>("select n from kept").await, [7]);
    database.stop();
    database.restart();
    assert_eq!(database.count("select count(*) from kept").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_forgets_when_it_is_killed_and_two_do_not_meet() {
    let (mut first, second) = (Redis::start(), Redis::start());
    let () = first.connect().await.set("name", "first").await.unwrap();
    let other: Option<String> = second.connect().await.get("name").await.unwrap();
    assert_eq!(other, None);
    first.kill();
    first.restart();
    let kept: Option<String> = first.connect().await.get("name").await.unwrap();
    assert_eq!(kept, None);
}
